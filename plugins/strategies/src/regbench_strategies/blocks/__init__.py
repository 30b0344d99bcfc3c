"""Networks that several strategies share."""
