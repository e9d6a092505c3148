//! OpenMetrics: order, splitting, memory, and `_created` lines.
