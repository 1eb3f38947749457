"""The forms a trained network leaves in: model description, ONNX, MONAI bundle."""
