"""How the keys of published checkpoints become those of our networks: (regular expression, replacement), in order."""

from __future__ import annotations

Keys = tuple[tuple[str, str], ...]

_DATA_PARALLEL: Keys = ((r"^module\.", ""),)

_SSHNET: Keys = (  # its checkpoints hold its translator too, which is no part of the registrator
    (r"^modal_trans\..*", ""),
    (r"^homo_estimator\.", ""),
)

_HALVING_DECODERS: Keys = (  # the published decoder counts its layers from 1 and calls the one at 2 x 2 the tenth
    (r"^update_block_4\.cnn\.", "decoders.0."),
    (r"^update_block_2\.cnn\.", "decoders.1."),
    (r"\.layer10\.3\.", ".head."),
    (r"\.layer10\.", ".last."),
    *((rf"\.layer{n}\.", f".layers.{n - 1}.") for n in range(1, 6)),
)

_SHORTCUTS: Keys = ((r"\.downsample\.0\.", ".shortcut."),)

MCNET_KEYS: Keys = (
    *_DATA_PARALLEL,
    *_SHORTCUTS,
    (r"^fnet\.conv1\.", "encoder.stem."),
    *((rf"^fnet\.layer{n}\.", f"encoder.levels.{n - 1}.") for n in range(1, 5)),
    *((rf"^fnet\.out_conv{n}\.", f"encoder.heads.{2 ** (n - 1)}.") for n in range(1, 5)),
    (r"^update_blocks\.(\d)\.in_conv\.", r"decoders.\1.project."),
    (r"^update_blocks\.(\d)\.out_conv\.", r"decoders.\1.head."),
    (r"^update_blocks\.", "decoders."),
)

IHN_KEYS: Keys = (
    *_DATA_PARALLEL,
    *_SSHNET,
    (r"^fnet1?\.", "encoder."),
    (r"^encoder\.conv1\.", "encoder.stem."),
    (r"^encoder\.layer2\.", "encoder.levels.0."),
    (r"^encoder\.layer3\.", "encoder.levels.1."),
    *_SHORTCUTS,
    (r"^encoder\.conv3\.", "encoder.heads.2."),
    (r"^encoder\.conv2\.", "encoder.heads.4."),
    *_HALVING_DECODERS,
    # SSHNet's decoder.
    (r"^update_block\.in_conv\.", "decoders.0.project."),
    (r"^update_block\.same_layers\.", "decoders.0.before."),
    (r"^update_block\.down_layers\.", "decoders.0.layers."),
    (r"^update_block\.out_conv\.", "decoders.0.head."),
)

RHWF_KEYS: Keys = (
    *_DATA_PARALLEL,
    (r"^encoder\.conv1\.", "encoder.stem."),
    (r"^encoder\.layer1\.", "encoder.levels.0."),
    (r"^encoder\.layer2\.", "encoder.levels.1."),
    *_SHORTCUTS,
    (r"^encoder\.conv_1\.", "encoder.heads.2."),
    (r"^encoder\.conv_2\.", "encoder.heads.4."),
    (r"^transformer_(\d)\.", r"transformers.\1."),
    (r"\.slf_attn\.", ".own."),
    (r"\.crs_attn\.", ".cross."),
    (r"\.pos_ffn\.", ".feed_forward."),
    (r"\.w_qs\.", ".query."),
    (r"\.w_ks\.", ".key."),
    (r"\.w_vs\.", ".value."),
    (r"\.fc\.", ".out."),
    (r"\.w_1\.", ".expand."),
    (r"\.w_2\.", ".reduce."),
    (r"\.ln\.", ".norm."),
    (r"^conv1_(\d)\.layer0\.0\.", r"motions.\1.project."),
    (r"^conv3\.layer0\.0\.", "merge."),
    *_HALVING_DECODERS,
)

MHN_KEYS: Keys = (
    *_DATA_PARALLEL,
    *_SSHNET,
    (r"^net2\.", "levels.0."),
    (r"^net1\.", "levels.1."),
    (r"^net0\.", "levels.2."),
    (r"\.inc\.double_conv\.", ".blocks.0."),
    (r"\.down(\d)\.maxpool_conv\.1\.double_conv\.", r".blocks.\1."),
    (r"\.out_layer\.2\.", ".head."),
)
