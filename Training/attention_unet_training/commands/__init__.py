"""The subcommands of ``attention-unet-train``, one module each."""
