"""What shows how good the tuner is: layers to tune, its cost model trained and judged, its searches compared."""
