"""Questions for answers, screens and the matcher: read only, never under the write path's locks."""
