"""Steps of a run in their order: updates, schedule, reports, saved states."""
