"""The names of numerauto's module `eventhandlers`, so that only an import line has to change."""

from __future__ import annotations

from ..events.handler import EventHandler
from ..events.report import ReportWriter
from ..events.trainer import SKLearnModelTrainer
from ..events.uploader import PredictionUploader
from .command import CommandlineExecutor
from .report import ReportMailer
from .statistics import PredictionStatistics

BasicReportWriter = ReportWriter
BasicReportEmailer = ReportMailer
PredictionStatisticsGenerator = PredictionStatistics

__all__ = [
    "EventHandler",
    "SKLearnModelTrainer",
    "PredictionUploader",
    "CommandlineExecutor",
    "PredictionStatisticsGenerator",
    "BasicReportWriter",
    "BasicReportEmailer",
]
