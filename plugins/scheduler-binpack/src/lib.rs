//! scheduler-binpack
