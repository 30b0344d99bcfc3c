"""From files on disk to batches on a device: packs, samplers, frozen test manifests."""
