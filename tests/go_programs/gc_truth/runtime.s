// So that a function may have no body here: the runtime has it.
