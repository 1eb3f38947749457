"""``configs/metadata.json`` and ``configs/inference.json`` of a MONAI bundle."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from AttentionUNetSegmentationLib.models.description import ModelSpec

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
ORIENTATION = "SAR"  # array axes upwards, to the front, to the right: the engine's patient-aligned grid in KJI order
NOT_STATED = "not stated in the model's description"


def metadata(spec: ModelSpec, divisor: int) -> dict[str, Any]:
    """What the bundle says of itself, in the fields of MONAI's schema.

    Args:
        spec: The model's description.
        divisor: The network's size divisor.
    """
    values = {"0": "background"} | {str(n): label.name for n, label in enumerate(spec.labels, start=1)}
    on_disk = ", ".join(f"{label.value} {label.name}" for label in spec.labels)
    low, high = _scaled_range(spec)
    shape = [f"{divisor}*n"] * 3
    return {
        "schema": SCHEMA,
        "version": spec.version,
        "changelog": {spec.version: "exported from a trained model"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"nibabel": version("nibabel")},
        "name": spec.name,
        "task": spec.title,
        "description": f"{spec.title}. {spec.architecture.type}, {spec.spacing_mm[0]:g} mm voxels.",
        "authors": NOT_STATED,
        "copyright": f"see LICENSE: {spec.licence}",
        "data_source": spec.origin(),
        "data_type": "nibabel",
        "image_classes": f"one channel, CT in HU clipped to {list(spec.intensity.clip_hu)} and scaled",
        "label_classes": f"one channel; written label maps hold 0 background, {on_disk}",
        "pred_classes": f"{spec.num_classes} channels of logits",
        "eval_metrics": {
            f"{entry.metric} {entry.organ} ({entry.data}; {entry.cases} cases)": entry.value for entry in spec.measured
        },
        "intended_use": spec.intended_use,
        "references": [spec.citation] if spec.citation else [],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield",
                    "modality": "CT",
                    "num_channels": 1,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [low, high],
                    "is_patch_data": False,
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": spec.num_classes,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": values,
                }
            },
        },
    }


def inference_config(spec: ModelSpec, divisor: int) -> dict[str, Any]:
    """Steps from CT files to label maps on the CTs' grids, as MONAI's transforms.

    Args:
        spec: The model's description.
        divisor: The network's size divisor.
    """
    return {
        "imports": ["$import glob", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*.nii*'))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": "$torch.jit.load(@bundle_root + '/models/model.ts', map_location=@device)",
        "network": "$@network_def.eval()",
        "network_with_attention": _network_with_attention(spec),
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(spec, divisor)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist]",
            "transform": "@preprocessing",
        },
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": _postprocessing(spec)},
        "predict": "$torch.no_grad()(lambda case, run=@inferer, network=@network, device=@device: "
        "{**case, 'pred': run(case['image'][None].to(device), network)[0].cpu()})",
        "run": ["$[output for output in map(@postprocessing, map(@predict, @dataset))]"],
    }


def _network_with_attention(spec: ModelSpec) -> dict[str, Any]:
    """The network itself, for those who have this project installed; used only when asked for."""
    architecture = spec.architecture
    arguments: dict[str, Any] = {"in_channels": 1, "num_classes": spec.num_classes, "widths": list(architecture.widths)}
    if architecture.type == "AttentionUNet":
        arguments |= {"num_subgates": architecture.num_subgates, "gating_conv": architecture.gating_conv}
    return {"_target_": f"AttentionUNetSegmentationLib.inference.network.{architecture.type}", **arguments}


def _scaled_range(spec: ModelSpec) -> tuple[float, float]:
    rule = spec.intensity
    low, high = ((bound - rule.mean_hu) / rule.std_hu for bound in rule.clip_hu)
    return low, high


def _preprocessing(spec: ModelSpec, divisor: int) -> list[dict[str, Any]]:
    (low_hu, high_hu), (low, high) = spec.intensity.clip_hu, _scaled_range(spec)
    return [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": ORIENTATION, "labels": None},
        {"_target_": "Spacingd", "keys": "image", "pixdim": list(spec.spacing_mm[::-1]), "mode": "bilinear"},
        {
            "_target_": "ScaleIntensityRanged",
            "keys": "image",
            "a_min": low_hu,
            "a_max": high_hu,
            "b_min": low,
            "b_max": high,
            "clip": True,
        },
        {"_target_": "DivisiblePadd", "keys": "image", "k": divisor, "mode": "edge", "method": "end"},
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
    ]


def _postprocessing(spec: ModelSpec) -> list[dict[str, Any]]:
    return [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {
            "_target_": "MapLabelValued",
            "keys": "pred",
            "orig_labels": list(range(spec.num_classes)),
            "target_labels": [0, *(label.value for label in spec.labels)],
        },
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "labels",
            "output_dtype": "$torch.uint8",
            "resample": False,
            "separate_folder": False,
        },
    ]
