"""One module a published data set: the reader of its layout and the card that describes it."""
