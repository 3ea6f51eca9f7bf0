"""`jaxface app`: a page on this machine that turns photos into faces.

`faces` holds the queue and its one thread of work, `routes` what the browser asks for, `serving`
the socket and the end of the process; `page.html`, `page.css` and `page.js` are the page.
"""
