//! The protocols on which no two writers rests, as models that are searched completely.
