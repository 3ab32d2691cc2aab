/** The newest version of the specification whose fields we know. */
export const specVersion = '1.3.0'
