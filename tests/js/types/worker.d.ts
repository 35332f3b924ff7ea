// What `server/web/screens/driver_page.py` puts above static/driver/sw.js.

declare const BUILD: string;
declare const FILES: string[];
declare const LANGUAGE: string;
declare const MINOR_UNITS: Record<string, number>;
declare const ROOT: string;
declare const TEXTS: Record<string, Record<string, string>>;
