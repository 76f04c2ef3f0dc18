"""Every format of annotated text that is read and written; `table.FORMATS` names them."""
