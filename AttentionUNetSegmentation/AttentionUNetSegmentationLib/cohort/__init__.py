"""``attention-unet cohort``: thousands of CTs on a workstation or a cluster, with Ray."""
