"""Numbers to sections, tables, figures and pages."""
