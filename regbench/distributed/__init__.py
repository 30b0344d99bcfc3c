"""One run trained by several processes: which one this is, batches they share, layers that see the whole batch."""
