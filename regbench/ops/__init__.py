"""Operators that plugin authors share: each documented, tested against a naive form, and free of host syncs."""

from regbench.ops.all_pairs import all_pairs_correlation, correlation_windows
from regbench.ops.antialias import BlurDown, blur_up
from regbench.ops.attention import attention
from regbench.ops.correlation import local_correlation, warped_correlation
from regbench.ops.edges import edge_agreement, edge_field, edge_shift
from regbench.ops.fidelity import structure_correlation
from regbench.ops.gan import GanKind, discriminator_loss, fake_loss, generator_loss, real_loss
from regbench.ops.homography_grid import homography_flow, homography_grid
from regbench.ops.imagenet import imagenet_file, load_imagenet
from regbench.ops.log_gabor import amplitudes, log_gabor_bank, maximum_index_map, to_grey
from regbench.ops.masked_correlation import Surfaces, masked_correlation, masked_spectrum
from regbench.ops.patch_nce import PatchSampler, nce_over_layers, patch_nce
from regbench.ops.patchgan import PatchGAN, check_patchgan
from regbench.ops.perceptual import Perceptual, lpips_files, lpips_vgg16, random_features, timm_features, timm_file
from regbench.ops.resnet import RESNET34_DEPTHS, RESNET34_WIDTHS, resnet34
from regbench.ops.sequence_loss import decayed_sum, sequence_loss

__all__ = [
    "RESNET34_DEPTHS",
    "RESNET34_WIDTHS",
    "BlurDown",
    "GanKind",
    "PatchGAN",
    "PatchSampler",
    "Perceptual",
    "Surfaces",
    "all_pairs_correlation",
    "amplitudes",
    "attention",
    "blur_up",
    "check_patchgan",
    "correlation_windows",
    "decayed_sum",
    "discriminator_loss",
    "edge_agreement",
    "edge_field",
    "edge_shift",
    "fake_loss",
    "generator_loss",
    "homography_flow",
    "homography_grid",
    "imagenet_file",
    "load_imagenet",
    "local_correlation",
    "log_gabor_bank",
    "lpips_files",
    "lpips_vgg16",
    "masked_correlation",
    "masked_spectrum",
    "maximum_index_map",
    "nce_over_layers",
    "patch_nce",
    "random_features",
    "real_loss",
    "resnet34",
    "sequence_loss",
    "structure_correlation",
    "timm_features",
    "timm_file",
    "to_grey",
    "warped_correlation",
]
