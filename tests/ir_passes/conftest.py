"""Makes the other files' support module importable, and gives the tests their shared assertions."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
