import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { language, words } from "../../shared/words.js";
import { App } from "./App";
import "./style.css";

document.documentElement.lang = language;
document.title = words.messages;

const root = document.getElementById("root");
if (root === null) throw new Error("There is no #root.");
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
