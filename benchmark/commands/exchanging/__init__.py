"""Verbs that exchange results: packs, merged folders, exports, audits."""
