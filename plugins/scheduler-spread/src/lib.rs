//! scheduler-spread
