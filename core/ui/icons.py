"""The icon set: our own drawings on a 16 px grid, stroked with the colour of the text beside them."""

# Each value is the inside of an <svg viewBox="0 0 16 16">; 1.5 px strokes, round ends.
ICONS: dict[str, str] = {
    "alert": '<path d="M8 2.2 14.4 13H1.6z"/><path d="M8 6.4v3.2M8 11.4v.1"/>',
    "bell": '<path d="M3.4 11.4c1-.9 1.2-2 1.2-4a3.4 3.4 0 0 1 6.8 0c0 2 .2 3.1 1.2 4z"/><path d="M6.8 13.8h2.4"/>',
    "bolt": '<path d="M9 1.8 3.6 9H8l-1 5.2L12.4 7H8z"/>',
    "book": '<path d="M8 4C6.6 2.9 4.6 2.6 2.2 2.8v9.4c2.4-.2 4.4.1 5.8 1.2 1.4-1.1 '
    '3.4-1.4 5.8-1.2V2.8C11.4 2.6 9.4 2.9 8 4zM8 4v9.4"/>',
    "calls": '<path d="M1.6 8h3l2-5 3 10 2-5h2.8"/>',
    "card": '<rect x="1.8" y="3.4" width="12.4" height="9.2" rx="1.6"/><path d="M1.8 6.6h12.4M4.4 10h2.4"/>',
    "chart": '<path d="M2.2 13.6h11.6M4.4 11V7.6M8 11V3.4M11.6 11V6"/>',
    "check": '<path d="m3 8.6 3.2 3.2L13 4.8"/>',
    "chevron-down": '<path d="m4 6.2 4 4 4-4"/>',
    "chevron-left": '<path d="m9.8 4-4 4 4 4"/>',
    "chevron-right": '<path d="m6.2 4 4 4-4 4"/>',
    "chevrons": '<path d="m5 6 3-3 3 3M5 10l3 3 3-3"/>',
    "clock": '<circle cx="8" cy="8" r="6"/><path d="M8 4.6V8l2.4 1.6"/>',
    "code": '<path d="m5.2 4.4-3.6 3.6 3.6 3.6M10.8 4.4l3.6 3.6-3.6 3.6"/>',
    "compass": '<circle cx="8" cy="8" r="6.2"/><path d="m10.6 5.4-1.5 3.7-3.7 1.5 1.5-3.7z"/>',
    "copy": '<rect x="5.4" y="5.4" width="8.2" height="8.2" rx="1.4"/>'
    '<path d="M10.6 5.2V3.8a1.4 1.4 0 0 0-1.4-1.4H3.8a1.4 1.4 0 0 0-1.4 1.4v5.4'
    'a1.4 1.4 0 0 0 1.4 1.4h1.4"/>',
    "device": '<rect x="2.8" y="3" width="10.4" height="7.2" rx="1.2"/><path d="M1.2 12.8h13.6"/>',
    "dot": '<circle cx="8" cy="8" r="2.4"/>',
    "download": '<path d="M8 2.4v8M4.8 7.4 8 10.6l3.2-3.2M2.6 13.6h10.8"/>',
    "external": '<path d="M9.4 2.6h4v4M13.2 2.8 7.4 8.6M6.6 3.2H3.4a.8.8 0 0 0-.8.8v8.6'
    'a.8.8 0 0 0 .8.8H12a.8.8 0 0 0 .8-.8V9.4"/>',
    "eye": '<path d="M1.4 8S3.8 3.6 8 3.6 14.6 8 14.6 8 12.2 12.4 8 12.4 1.4 8 1.4 8z"/><circle cx="8" cy="8" r="2"/>',
    "filter": '<path d="M2 4h12M4.4 8h7.2M6.6 12h2.8"/>',
    "gauge": '<path d="M2.8 12.4a6.2 6.2 0 1 1 10.4 0"/><path d="m8 9.4 2.8-3.6"/>',
    "history": '<path d="M2.4 8a5.6 5.6 0 1 0 1.8-4.1L2.4 5.6"/><path d="M2.4 2.6v3h3M8 5v3.2l2 1.4"/>',
    "inbox": '<path d="m1.8 9 2-5.6h8.4l2 5.6v3.6H1.8z"/><path d="M1.8 9h3.6l1 1.8h3.2l1-1.8h3.6"/>',
    "info": '<circle cx="8" cy="8" r="6.2"/><path d="M8 7.4v3.8M8 4.9V5"/>',
    "key": '<circle cx="5" cy="11" r="2.8"/><path d="m7 9 6.4-6.4M10.8 5.2l2 2"/>',
    "link": '<path d="M6.6 9.4a2.6 2.6 0 0 0 3.7 0l2.5-2.5a2.6 2.6 0 0 0-3.7-3.7l-.9.9"/>'
    '<path d="M9.4 6.6a2.6 2.6 0 0 0-3.7 0L3.2 9.1a2.6 2.6 0 0 0 3.7 3.7l.9-.9"/>',
    "lock": '<rect x="3" y="7" width="10" height="6.8" rx="1.4"/><path d="M5.2 7V5a2.8 2.8 0 0 1 5.6 0v2"/>',
    "mail": '<rect x="1.8" y="3.2" width="12.4" height="9.6" rx="1.4"/><path d="m2.2 4.6 5.8 4.6 5.8-4.6"/>',
    "minus": '<path d="M3.2 8h9.6"/>',
    "monitor": '<rect x="1.8" y="2.8" width="12.4" height="8.4" rx="1.2"/><path d="M5.6 13.8h4.8M8 11.4v2.2"/>',
    "moon": '<path d="M13.6 9.8A6 6 0 0 1 6.2 2.4a6 6 0 1 0 7.4 7.4z"/>',
    "more": '<circle cx="3.2" cy="8" r=".6"/><circle cx="8" cy="8" r=".6"/><circle cx="12.8" cy="8" r=".6"/>',
    "organisation": '<path d="M2.6 13.6V3.2h6.8v10.4M9.4 6.6h4v7M1.4 13.6h13.2M5 6h2M5 8.6h2M5 11.2h2"/>',
    "panel": '<rect x="1.8" y="2.8" width="12.4" height="10.4" rx="1.6"/><path d="M6 3v10"/>',
    "pencil": '<path d="m10.6 2.8 2.6 2.6-7.8 7.8-3.2.6.6-3.2z"/><path d="m9 4.4 2.6 2.6"/>',
    "play": '<path d="M4.6 2.8 12.6 8l-8 5.2z"/>',
    "plus": '<path d="M8 3.2v9.6M3.2 8h9.6"/>',
    "refresh": '<path d="M13.4 8a5.4 5.4 0 1 1-1.6-3.8l1.6 1.6"/><path d="M13.4 2.4v3.4H10"/>',
    "scroll": '<path d="M4 2.4h8v11.2H4z"/><path d="M6.2 5.4h3.6M6.2 8h3.6M6.2 10.6h2"/>',
    "search": '<circle cx="7" cy="7" r="4.6"/><path d="m10.4 10.4 3.6 3.6"/>',
    "server": '<rect x="2" y="2.6" width="12" height="4.6" rx="1.2"/>'
    '<rect x="2" y="8.8" width="12" height="4.6" rx="1.2"/><path d="M4.6 4.9h.1M4.6 11.1h.1M7.4 4.9h4M7.4 11.1h4"/>',
    "settings": '<path d="M2 4.6h6.6M12 4.6h2M2 11.4h2M7.4 11.4H14"/>'
    '<circle cx="10.3" cy="4.6" r="1.7"/><circle cx="5.7" cy="11.4" r="1.7"/>',
    "shield": '<path d="M8 1.8 13.2 3.6v4c0 3.2-2.2 5.4-5.2 6.6-3-1.2-5.2-3.4-5.2-6.6v-4z"/>',
    "sign-out": '<path d="M6.2 2.6H3.4a.8.8 0 0 0-.8.8v9.2a.8.8 0 0 0 .8.8h2.8M10.4 11.2 13.6 8l-3.2-3.2M13.4 8H6.2"/>',
    "star": '<path d="m8 1.9 1.9 3.9 4.2.6-3.1 3 .8 4.2L8 11.6l-3.8 2 .8-4.2-3.1-3 4.2-.6z"/>',
    "star-half": '<path d="m8 1.9 1.9 3.9 4.2.6-3.1 3 .8 4.2L8 11.6l-3.8 2 .8-4.2-3.1-3 4.2-.6z"/>'
    '<path class="icon--fill" d="M8 1.9v9.7l-3.8 2 .8-4.2-3.1-3 4.2-.6z"/>',
    "sun": '<circle cx="8" cy="8" r="2.8"/>'
    '<path d="M8 1.4v1.4M8 13.2v1.4M1.4 8h1.4M13.2 8h1.4M3.3 3.3l1 1M11.7 11.7l1 1M3.3 12.7l1-1M11.7 4.3l1-1"/>',
    "tag": '<path d="M2.2 7.6V2.8a.6.6 0 0 1 .6-.6h4.8l6.2 6.2-5.4 5.4z"/><path d="M5.2 5.2h.1"/>',
    "tool": '<path d="M8.4 6.6a3.4 3.4 0 0 1 4.4-4l-2.2 2.2.2 1.4 1.4.2 2.2-2.2A3.4 3.4 0 0 1 10 8.4'
    'l-5.2 5.2a1.4 1.4 0 0 1-2-2z"/>',
    "trash": '<path d="M2.4 4.2h11.2M6 4V2.4h4V4M3.8 4.2l.6 9.4h7.2l.6-9.4M6.6 6.8v4.4M9.4 6.8v4.4"/>',
    "upload": '<path d="M8 10.6v-8M4.8 5.6 8 2.4l3.2 3.2M2.6 13.6h10.8"/>',
    "user": '<circle cx="8" cy="5.2" r="2.8"/><path d="M2.6 14c.4-3 2.6-4.4 5.4-4.4S13 11 13.4 14"/>',
    "users": '<circle cx="6" cy="5.6" r="2.4"/><path d="M1.4 13.4c.3-2.7 2.2-4 4.6-4s4.3 1.3 4.6 4"/>'
    '<path d="M10.6 3.4a2.4 2.4 0 0 1 0 4.4M12.2 9.8c1.5.6 2.3 1.8 2.4 3.6"/>',
    "x": '<path d="m3.6 3.6 8.8 8.8M12.4 3.6l-8.8 8.8"/>',
}

# Words that pages use for a drawing which has another name.
ICONS |= {"activity": ICONS["calls"], "people": ICONS["users"], "operations": ICONS["gauge"]}

# Names also arrive as data (rail items); a page must not fail for want of a picture. Literal names
# in templates are checked by the template lint.
FALLBACK = "dot"
