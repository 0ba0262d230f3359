"""How the programs here end: a refusal is one sentence, not a traceback."""

import os
import sys
from collections.abc import Callable


def run(main: Callable[[], None]) -> None:
    """Call `main`; on bad input end with status 1 and one sentence (BRAINBERT_TRACEBACK=1 shows where it came from)."""
    try:
        main()
    except (ValueError, OSError) as error:
        if os.environ.get("BRAINBERT_TRACEBACK"):
            raise
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
