"""The names of numerauto's module `eventhandlers`, so that only an import line has to change."""

from __future__ import annotations

from ..events.command import CommandlineExecutor
from ..events.handler import EventHandler
from ..events.report import ReportMailer, ReportWriter
from ..events.statistics import PredictionStatistics
from ..events.trainer import SKLearnModelTrainer
from ..events.uploader import PredictionUploader

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
