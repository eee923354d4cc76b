"""Checks of every setting and every service, for real: all of them for `doctor`, the cheap ones for each start."""

from bot.doctor.examination import CHECKS, diagnose, examine
from bot.doctor.report import Finding, Status
from bot.doctor.start import Unfit, looking_back, refuse_the_unfit

__all__ = ["CHECKS", "Finding", "Status", "Unfit", "diagnose", "examine", "looking_back", "refuse_the_unfit"]
