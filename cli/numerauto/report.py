"""Numerauto's handler that sends the report of a round by e-mail."""

from __future__ import annotations

from ..events.report import ReportWriter

MAIL_SECONDS = 30


class ReportMailer(ReportWriter):
    """Sends the report by e-mail instead, over STARTTLS with the server's certificate checked (`smtp_tls=False` sends
    it in clear, for a server on this machine). For anything else see `numerai notify`."""

    def __init__(
        self,
        name: str,
        smtp_server: str,
        smtp_port: int,
        smtp_user: str | None,
        smtp_password: str | None,
        email_from: str,
        email_to: str,
        smtp_tls: bool = True,
    ):
        super().__init__(name)
        self.smtp_server = smtp_server
        self.smtp_port = smtp_port
        self.smtp_user = smtp_user
        self._smtp_password = smtp_password
        self.email_from = email_from
        self.email_to = email_to
        self.smtp_tls = smtp_tls

    def on_cleanup(self, round_number: int) -> None:
        """Send the report."""
        import smtplib
        import ssl
        from email.message import EmailMessage

        message = EmailMessage()
        message["From"], message["To"] = self.email_from, self.email_to
        message["Subject"] = f"Numerai report: round {round_number}"
        message.set_content(self._taken(round_number))
        with smtplib.SMTP(self.smtp_server, self.smtp_port, timeout=MAIL_SECONDS) as server:
            if self.smtp_tls:
                server.starttls(context=ssl.create_default_context())
            if self.smtp_user and self._smtp_password:
                server.login(self.smtp_user, self._smtp_password)
            server.send_message(message)
