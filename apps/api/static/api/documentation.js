"use strict";

const place = document.getElementById("documentation");
window.SwaggerUIBundle({
  url: place.dataset.description,
  dom_id: "#documentation",
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});
