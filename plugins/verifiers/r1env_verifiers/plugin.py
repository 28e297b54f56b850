"""What r1env-verifiers provides."""

from __future__ import annotations
