"""The command ``attention-unet``, whose sessions of ``view`` are stand-ins."""

import sys

from AttentionUNetSegmentationLib.browser import processes
from AttentionUNetSegmentationLib.command import cli, view
from support.browser_front import stub

processes.SESSION_COMMAND = stub()
view.NEEDED = ("aiohttp",)
sys.exit(cli.main())
