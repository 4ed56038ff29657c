from django.contrib import admin

from ordinary.models import Order

admin.site.register(Order)
