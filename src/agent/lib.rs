//! What an agent does next: one turn as a machine, its prompt, its approvals, the model and the tools.
