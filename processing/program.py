"""How programs show help, and end: a refusal is one sentence, not a traceback."""

import argparse
import os
import sys
import warnings
from collections.abc import Callable


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show the default of every flag that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, []) else super()._get_help_string(action)


class DescriptionHelpFormatter(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show defaults, and the description as it was written."""


def run(main: Callable[[], None]) -> None:
    """Call `main`; on bad input end with status 1 and one sentence (BRAINBERT_TRACEBACK=1 shows where it came from)."""
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # what, not which line of whose code
    try:
        main()
    except (ValueError, OSError) as error:
        if os.environ.get("BRAINBERT_TRACEBACK"):
            raise
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
