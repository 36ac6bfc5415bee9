// For the pages that have nothing else to do: the 404 page and its like.

import { startThemeToggle } from "./theme.js";

startThemeToggle();
