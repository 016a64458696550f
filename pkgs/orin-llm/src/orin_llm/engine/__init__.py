"""Many sequences at once through one model: scheduling, pages of keys and values, sampling."""
