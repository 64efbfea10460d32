"""One event becomes counts: decoded, judged, added to panes, summed to windows."""
