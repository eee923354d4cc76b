"""What is being done, for the log's lines and for spans; and Sentry and OpenTelemetry, where they are wanted."""

from bot.watching.opening import missing, observed
from bot.watching.steps import about_job, job_step, log_state, step

__all__ = ["about_job", "job_step", "log_state", "missing", "observed", "step"]
