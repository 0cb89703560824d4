"""The report that one can mail: one HTML page, no server, no network, no scripts that run."""

from armillary.report.page import Report, write_report

__all__ = ["Report", "write_report"]
