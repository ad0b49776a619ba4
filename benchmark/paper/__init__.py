"""What the figures of the paper show: tables in, tables out, nothing drawn. Pure."""
