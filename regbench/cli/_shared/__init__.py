"""What verbs share: options, output, results and settings in words."""
