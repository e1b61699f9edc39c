"""The console: pages for operators at `/console`, who is let in, and what an operator does.

    request ──▶ Gateway ──▶ pages (Quart) ──▶ SignIn.admit ──▶ a page's function ──▶ values ──▶ Renderer ──▶ HTML
                                  └── Refused ──▶ sign-in page, error page, fragment or JSON

A page is a plain function of what was asked; it returns values, and `rendering` makes HTML of them.
"""
