"""Activity streams on AWS: starting and stopping them, and the Lambda handlers."""
