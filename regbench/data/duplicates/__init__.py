"""Images that are there twice: the very same in train and in test (``exact``), or nearly the same (``alike``)."""
