"""Workers on the nodes of a Ray cluster; Ray is an extra, and nothing else imports it."""
