import structlog

pytest_plugins = ["databases", "s3_servers", "victims"]

# As in the service: a traceback without the values of variables, which structlog shows where rich is installed.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)
