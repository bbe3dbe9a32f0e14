"""Event handlers: code of one's own that is called as rounds open, data arrive and submissions are made."""

from .command import CommandFailed, CommandRunner
from .daemon import EventDaemon
from .handler import EventHandler, Failure, SubmissionMade
from .notify import NotificationSender
from .report import ReportWriter
from .trainer import SKLearnModelTrainer
from .uploader import PredictionUploader

__all__ = [
    "EventHandler",
    "Failure",
    "SubmissionMade",
    "EventDaemon",
    "SKLearnModelTrainer",
    "PredictionUploader",
    "CommandRunner",
    "CommandFailed",
    "ReportWriter",
    "NotificationSender",
]
