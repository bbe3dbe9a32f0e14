"""Event handlers: code of one's own that is called as rounds open, data arrive and submissions are made."""

from .command import CommandFailed, CommandRunner
from .handler import EventHandler
from .loop import EventLoop
from .messages import Failure, SubmissionMade
from .notify import NotificationSender
from .report import ReportWriter
from .trainer import SKLearnModelTrainer
from .uploader import PredictionUploader

__all__ = [
    "EventHandler",
    "Failure",
    "SubmissionMade",
    "EventLoop",
    "SKLearnModelTrainer",
    "PredictionUploader",
    "CommandRunner",
    "CommandFailed",
    "ReportWriter",
    "NotificationSender",
]
