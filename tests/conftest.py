pytest_plugins = ["databases", "s3_servers", "victims"]
