"""The HTTP side of the sandbox: requests, answers, faults on the wire."""
